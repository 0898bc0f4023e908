/** The microphone, in frames of 16-bit samples. */

/** What one frame is, in milliseconds. */
export const FRAME_MS = 100;
export const PROCESSOR = 'cognomega-microphone';

export interface Microphone {
  /** Ends the capture, and lets go of the device. */
  stop(): void;
}

/**
 * Captures until it is stopped. `workletUrl` is where the page serves `microphone-worklet.js` from: it is a file of its
 * own, so a policy of `script-src 'self'` is enough.
 */
export async function openMicrophone(
  workletUrl: string | URL,
  sampleRateHz: number,
  onFrame: (samples: Int16Array) => void,
): Promise<Microphone> {
  const audio = { channelCount: 1, echoCancellation: true, noiseSuppression: true, autoGainControl: true };
  const stream = await navigator.mediaDevices.getUserMedia({ audio });
  const end = (): void => {
    for (const track of stream.getTracks()) track.stop();
  };
  try {
    // The context resamples to its own rate.
    const context = new AudioContext({ sampleRate: sampleRateHz });
    await context.audioWorklet.addModule(workletUrl);
    const samplesPerFrame = Math.round((sampleRateHz * FRAME_MS) / 1_000);
    const node = new AudioWorkletNode(context, PROCESSOR, {
      numberOfInputs: 1,
      numberOfOutputs: 0,
      channelCount: 1,
      channelCountMode: 'explicit',
      processorOptions: { samplesPerFrame },
    });
    node.port.onmessage = ({ data }: MessageEvent<Int16Array>) => onFrame(data);
    context.createMediaStreamSource(stream).connect(node);
    return {
      stop() {
        node.port.onmessage = null;
        node.disconnect();
        end();
        void context.close();
      },
    };
  } catch (error) {
    end();
    throw error;
  }
}
