/** How long to wait before the next dial: doubling, and never the same for two clients that were cut off together. */

export interface Waits {
  /** The first wait and the longest, in milliseconds. */
  readonly firstMs: number;
  readonly maxMs: number;
}

export const WAITS: Waits = { firstMs: 250, maxMs: 8_000 };

/** Between half and all of the wait of this try, which counts from zero. `chance` is from 0 to 1. */
export function waitMs(waits: Waits, tries: number, chance: number): number {
  const whole = Math.min(waits.firstMs * 2 ** Math.min(tries, 16), waits.maxMs);
  return whole / 2 + (whole / 2) * chance;
}
