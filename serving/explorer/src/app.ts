/** Shared by all parts of the page: the state, the connection, and the notices. */

import { Generator } from "./generator";
import { Server, ServerError, type Address } from "./server";
import { Store } from "./store";

export type Health = "connecting" | "ready" | "busy" | "lost";

const RETRY_MS = 2000;

export class App {
  /** null until the model has answered */
  generator: Generator | null = null;
  versions: readonly string[] = [];
  health: Health = "connecting";
  /** milliseconds of the last pictures, smoothed */
  latency = 0;
  private readonly ready: ((generator: Generator) => void)[] = [];
  private readonly watchers: (() => void)[] = [];
  private busy = 0;
  private connecting: Promise<void> | null = null;

  constructor(
    readonly server: Server,
    readonly address: Address,
    readonly network: string,
    readonly store: Store,
    readonly notify: (message: string, retry?: () => void) => void,
  ) {}

  /** Connect, and retry until it works; throws a ServerError if retrying cannot help. */
  connect(): Promise<void> {
    this.connecting ??= this.connectAtLast().finally(() => (this.connecting = null));
    return this.connecting;
  }

  private async connectAtLast(): Promise<void> {
    for (;;) {
      try {
        const versions = this.server.versions(this.address).catch(() => []);
        const found = await Generator.connect(this.server, this.address);
        // The frames and style vectors of the same model remain valid.
        if (!(await this.generator?.isSameModel(found))) this.generator = found;
        this.versions = await versions;
        this.setHealth("ready");
        for (const listener of this.ready) listener(this.generator!);
        return;
      } catch (error) {
        if (!(error instanceof ServerError && error.isLost)) throw error;
        this.setHealth("lost");
        await pause(RETRY_MS);
      }
    }
  }

  /** Call `listener` now if connected, and after each new connection. */
  whenReady(listener: (generator: Generator) => void): void {
    this.ready.push(listener);
    if (this.generator) listener(this.generator);
  }

  /** Call `watcher` when health or latency change. */
  watch(watcher: () => void): void {
    this.watchers.push(watcher);
    watcher();
  }

  /**
   * Run work that sends requests to the server, and show its progress. Returns undefined, after a notice, if it failed.
   * If the server is lost, connect again, after which listeners of `whenReady` repeat their work.
   *
   * @param retry what the notice offers
   * @param undone for work that no listener repeats: what a notice says if the server is lost
   */
  async attempt<Result>(
    work: (generator: Generator) => Promise<Result>,
    retry?: () => void,
    undone?: string,
  ): Promise<Result | undefined> {
    if (!this.generator) return undefined;
    this.busy++;
    if (this.health !== "lost") this.setHealth("busy");
    try {
      const result = await work(this.generator);
      if (this.health === "lost") this.setHealth("ready");
      return result;
    } catch (error) {
      if (error instanceof DOMException && error.name === "AbortError") return undefined;
      const message = error instanceof Error ? error.message : String(error);
      if (error instanceof ServerError && error.isLost) {
        if (undone) this.notify(`${undone}: ${message}`, retry);
        void this.reconnect();
      } else this.notify(message, retry);
      return undefined;
    } finally {
      this.busy--;
      if (!this.busy && this.health === "busy") this.setHealth("ready");
    }
  }

  /** Record how long a picture took, for display. */
  measure(milliseconds: number): void {
    this.latency = this.latency ? 0.7 * this.latency + 0.3 * milliseconds : milliseconds;
    for (const watcher of this.watchers) watcher();
  }

  private async reconnect(): Promise<void> {
    if (this.health === "lost") return;
    this.setHealth("lost");
    await pause(RETRY_MS);
    try {
      await this.connect();
    } catch (error) {
      this.setHealth("ready"); // it answers again, with an error
      this.notify(error instanceof Error ? error.message : String(error), () => void this.reconnect());
    }
  }

  private setHealth(health: Health): void {
    this.health = health;
    for (const watcher of this.watchers) watcher();
  }
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
