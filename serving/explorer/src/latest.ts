/** Work of which only the newest matters, such as pictures while something is dragged. */

const HIDDEN_MS = 100; // a page that nobody sees has no frames

/**
 * Wait for the next frame of the screen, before which the browser reports the newest position of the pointer. A request
 * sent earlier would be for a position up to a frame old.
 */
export function nextFrame(): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, HIDDEN_MS);
    requestAnimationFrame(() => (clearTimeout(timer), resolve()));
  });
}

export class Latest {
  /** pieces of work that a newer one replaced before they began */
  replaced = 0;
  private waiting: (() => Promise<void>) | null = null;
  private running: Promise<void> | null = null;
  private interrupt: (() => void) | null = null;

  /** @param pause waited for between pieces of work */
  constructor(private readonly pause: () => Promise<void> = nextFrame) {}

  /** Begin at once if nothing runs, else when that has ended, unless newer work comes first. */
  request(work: () => Promise<void>): void {
    if (this.running) {
      if (this.waiting) this.replaced++;
      this.waiting = work;
      this.interrupt?.();
      return;
    }
    this.running = this.run(work);
  }

  get isBusy(): boolean {
    return this.running !== null;
  }

  get hasNewer(): boolean {
    return this.waiting !== null;
  }

  /** Wait, for the running work; return true as soon as newer work waits, false after the time. */
  async isInterrupted(milliseconds: number): Promise<boolean> {
    if (!this.hasNewer) {
      await new Promise<void>((resolve) => {
        this.interrupt = resolve;
        setTimeout(resolve, milliseconds);
      });
      this.interrupt = null;
    }
    return this.hasNewer;
  }

  private async run(work: () => Promise<void>): Promise<void> {
    for (let next: (() => Promise<void>) | null = work; next;) {
      await next();
      if (this.waiting) await this.pause();
      next = this.waiting;
      this.waiting = null;
    }
    this.running = null;
  }
}
