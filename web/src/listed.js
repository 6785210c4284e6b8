/** Uppy leaves a short list of files without the role that its items need; whatever it draws below `element` gets it. */
export function listed(element) {
  const mend = () => element.querySelectorAll('.uppy-Dashboard-files:not([role])').forEach((each) => (each.role = 'list'))
  new MutationObserver(mend).observe(element, { childList: true, subtree: true })
}
