/** Says what the uploads wait for, in an element that screen readers announce. */
export class Waiting {
  constructor(element) {
    this.element = element
    this.server = false
    window.addEventListener('offline', () => this.show())
    window.addEventListener('online', () => this.show())
    this.show()
  }

  forServer() {
    this.server = true
    this.show()
  }

  over() {
    this.server = false
    this.show()
  }

  show() {
    const text = !navigator.onLine
      ? 'Waiting for the network. Uploads go on by themselves when it is back.'
      : 'Waiting for the server. Uploads go on by themselves when it answers.'
    this.element.hidden = navigator.onLine && !this.server
    this.element.textContent = this.element.hidden ? '' : text
  }
}
