/** Tasks of which only a few run at a time, first come, first served. */

export class Queue {
  private readonly waiting: (() => Promise<void>)[] = [];
  private running = 0;

  /** @param most maximum number of tasks that run at a time */
  constructor(private readonly most: number) {}

  add(work: () => Promise<void>): void {
    this.waiting.push(work);
    this.begin();
  }

  private begin(): void {
    if (this.running >= this.most) return;
    const work = this.waiting.shift();
    if (!work) return;
    this.running++;
    void work().finally(() => {
      this.running--;
      this.begin();
    });
  }
}
