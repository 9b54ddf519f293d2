/** Work of which only the latest matters, such as pictures during dragging. */

const HIDDEN_MS = 100; // a hidden page has no frames

/**
 * Wait for the next frame, before which the browser reports the latest position of the pointer. An earlier request
 * would be for a position up to one frame old.
 */
export function nextFrame(): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, HIDDEN_MS);
    requestAnimationFrame(() => (clearTimeout(timer), resolve()));
  });
}

export class Latest {
  /** tasks that a newer one replaced before they started */
  replaced = 0;
  private waiting: (() => Promise<void>) | null = null;
  private running: Promise<void> | null = null;
  private interrupt: (() => void) | null = null;

  /** @param pause awaited between tasks */
  constructor(private readonly pause: () => Promise<void> = nextFrame) {}

  /** Start now if nothing runs, or else when that has ended, unless newer work replaces this. */
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

  /** Wait within the running work; return true as soon as newer work waits, false after the time. */
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
