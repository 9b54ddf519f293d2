import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { START, Store, type State } from "../../src/store";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** A store, and the seeds that its two kinds of listeners are told of, with those before. */
function watched() {
  const store = new Store(START);
  const all: (number | undefined)[][] = [];
  const live: (number | undefined)[][] = [];
  const note = (list: typeof all) => (state: State, before: State | null) =>
    void list.push([before?.firstSeed, state.firstSeed]);
  store.listen(note(all));
  store.listenLive(note(live));
  return { store, all, live };
}

test("controls are told of some of the live states, and of the last one at the end", () => {
  const { store, all, live } = watched();
  vi.advanceTimersByTime(1000);
  for (let seed = 1; seed <= 20; seed++) {
    store.live({ firstSeed: seed });
    vi.advanceTimersByTime(20);
  }
  expect(live).toHaveLength(21);
  expect(all).toEqual([[undefined, 0], [0, 15]]); // after 300 ms
  store.follow(); // a picture, 100 ms after that
  expect(all.at(-1)).toEqual([15, 20]);
  store.live({ firstSeed: 21 });
  store.follow(); // too early
  expect(all).toHaveLength(3);
  store.commit();
  expect(all.at(-1)).toEqual([20, 21]);
  vi.advanceTimersByTime(1000);
  store.follow(); // nothing is new
  expect(all).toHaveLength(4);
});

test("undo takes back what has moved and is not a step yet", () => {
  const { store, all } = watched();
  store.change({ firstSeed: 1 });
  store.live({ firstSeed: 2 });
  store.undo();
  expect(store.state.firstSeed).toBe(1);
  expect(all.at(-1)).toEqual([2, 1]);
  store.redo();
  expect(store.state.firstSeed).toBe(2);
});
