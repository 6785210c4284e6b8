// Figures as people read them.

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

export function size(bytes) {
  if (bytes === null || bytes === undefined) return "?";
  let unit = 0;
  while (bytes >= 1024 && unit < UNITS.length - 1) {
    bytes /= 1024;
    unit += 1;
  }
  return `${unit && bytes < 100 ? bytes.toFixed(1) : Math.round(bytes)} ${UNITS[unit]}`;
}

export function speed(bytesPerSecond) {
  return bytesPerSecond === null || bytesPerSecond === undefined ? "-" : `${size(bytesPerSecond)}/s`;
}

export function duration(seconds) {
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} d`;
}

export function percent(upload) {
  if (upload.length === null) return null;
  // Rounded down: only a complete upload is at 100%
  return upload.length === 0 || upload.offset === upload.length ? 100 : Math.floor((upload.offset * 100) / upload.length);
}

export function pod(holder) {
  return holder ? holder.split(":").slice(0, 2).join(":") : null;
}

export function name(upload) {
  return upload.name || upload.id;
}

export function clock(time) {
  return new Date(time).toLocaleTimeString();
}

export function words(parts) {
  return parts.filter(Boolean).join(" · ");
}
