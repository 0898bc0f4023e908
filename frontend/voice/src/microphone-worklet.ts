/** Runs in the audio thread: takes what the microphone hears, and posts it in frames. */

import { Framing } from './framing.ts';

// TypeScript's own libraries do not have the scope of worklets.
declare abstract class AudioWorkletProcessor {
  readonly port: MessagePort;
}
declare function registerProcessor(name: string, processor: new (options: Options) => AudioWorkletProcessor): void;

interface Options {
  readonly processorOptions: { readonly samplesPerFrame: number };
}

class MicrophoneProcessor extends AudioWorkletProcessor {
  readonly #framing: Framing;

  constructor({ processorOptions }: Options) {
    super();
    this.#framing = new Framing(processorOptions.samplesPerFrame);
  }

  process([input]: Float32Array[][]): boolean {
    const channel = input?.[0];
    if (channel) this.#framing.push(channel, (frame) => this.port.postMessage(frame, [frame.buffer]));
    return true;
  }
}

// The name is also in microphone.ts: a worklet loads as little as it can.
registerProcessor('cognomega-microphone', MicrophoneProcessor);
