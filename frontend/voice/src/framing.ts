/** Cuts sound as it comes into frames of 16-bit samples. */
export class Framing {
  readonly #frame: Int16Array<ArrayBuffer>;
  #filled = 0;

  constructor(samplesPerFrame: number) {
    this.#frame = new Int16Array(samplesPerFrame);
  }

  /** Takes samples from -1 to 1, and gives each frame that is full by then. */
  push(samples: Float32Array, full: (frame: Int16Array<ArrayBuffer>) => void): void {
    for (const sample of samples) {
      const clipped = Math.max(-1, Math.min(1, sample));
      this.#frame[this.#filled] = Math.round(clipped < 0 ? clipped * 32_768 : clipped * 32_767);
      this.#filled += 1;
      if (this.#filled === this.#frame.length) {
        full(this.#frame.slice());
        this.#filled = 0;
      }
    }
  }
}
