/** What was said and not acknowledged yet, so that it can be said again. */

/** Sound that is kept, in milliseconds: what a client may be cut off for without losing a word of its own. */
export const BUFFER_MS_MAX = 10_000;

export type Message = string | ArrayBuffer;

interface Kept {
  readonly seq: number;
  readonly message: Message;
  readonly soundMs: number;
}

export class Upward {
  #next = 1;
  #kept: Kept[] = [];
  #keptMs = 0;

  /** The number of the next new message. */
  get next(): number {
    return this.#next;
  }

  /** Messages that wait to be acknowledged. */
  get waiting(): number {
    return this.#kept.length;
  }

  /** Whether there is room for so much more sound. */
  hasRoom(soundMs: number): boolean {
    return this.#keptMs + soundMs <= BUFFER_MS_MAX;
  }

  /** Gives a message its number and keeps it. */
  push(make: (seq: number) => Message, soundMs = 0): Message {
    const seq = this.#next;
    const message = make(seq);
    this.#next += 1;
    this.#kept.push({ seq, message, soundMs });
    this.#keptMs += soundMs;
    return message;
  }

  /** The other side has all up to this number. */
  acknowledge(seq: number): void {
    const has = this.#kept.findIndex((kept) => kept.seq > seq);
    const gone = this.#kept.splice(0, has < 0 ? this.#kept.length : has);
    for (const { soundMs } of gone) this.#keptMs -= soundMs;
  }

  /** All that has to be said again. */
  again(): Message[] {
    return this.#kept.map(({ message }) => message);
  }
}
