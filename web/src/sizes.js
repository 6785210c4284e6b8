const UNITS = ['bytes', 'KB', 'MB', 'GB', 'TB']

/** A number of bytes as people read it. */
export function readable(bytes) {
  const power = bytes >= 1 ? Math.min(Math.floor(Math.log10(bytes) / 3), UNITS.length - 1) : 0
  return `${(bytes / 1000 ** power).toFixed(power ? 1 : 0)} ${UNITS[power]}`
}
