/** Choice between full-size and reduced pictures during dragging, by measured times. */

const SLOW_MS = 150; // faster pictures need no preview
const SIDE = 128; // of a preview
const WORTH = 0.7; // a preview that takes more than this share of a full picture's time is not worth it

/** Records how long full-size and reduced pictures take. */
export class Preview {
  private whole = 0;
  private reduced = 0;

  /** @param side pixels of the longer side */
  constructor(private readonly side: number) {}

  /** Record how long a picture took. */
  note(scale: number, milliseconds: number): void {
    const smooth = (before: number) => (before ? 0.7 * before + 0.3 * milliseconds : milliseconds);
    if (scale === 1) this.whole = smooth(this.whole);
    else this.reduced = smooth(this.reduced);
  }

  /** Return the factor by which to reduce the next picture; 1 if reducing saves no time. */
  scale(): number {
    const scale = Math.floor(this.side / SIDE);
    if (scale < 2 || this.whole < SLOW_MS) return 1;
    return this.reduced === 0 || this.reduced < WORTH * this.whole ? scale : 1;
  }
}
