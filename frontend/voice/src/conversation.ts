/** A session with a microphone and a loudspeaker: what a page needs to talk. */

import { type Microphone, openMicrophone } from './microphone.ts';
import { Player } from './player.ts';
import type { VoiceSession } from './session.ts';

/** How often the server hears how much was played, in milliseconds. */
const PLAYED_MS = 1_000;

export class Conversation {
  readonly session: VoiceSession;
  readonly #loudspeaker: AudioContext;
  readonly #player: Player;
  readonly #microphone: Microphone;
  readonly #told = new Map<string, number>();
  readonly #timer: ReturnType<typeof setInterval>;
  readonly #unlisten: (() => void)[];
  #muted = false;

  private constructor(session: VoiceSession, loudspeaker: AudioContext, microphone: Microphone) {
    const player = new Player(loudspeaker, session.sampleRateHz);
    this.session = session;
    this.#loudspeaker = loudspeaker;
    this.#player = player;
    this.#microphone = microphone;
    this.#unlisten = [
      session.on('audio', ({ turn, frame }) => player.play(turn, frame)),
      session.on('interrupted', ({ turn }) => player.stop(turn)),
      session.on('over', () => this.stop()),
    ];
    this.#timer = setInterval(() => this.#tellPlayed(), PLAYED_MS);
  }

  /** Opens the microphone and connects. Call it from a click: browsers make no sound before one. */
  static async begin(session: VoiceSession, workletUrl: string | URL): Promise<Conversation> {
    const loudspeaker = new AudioContext();
    let conversation: Conversation | undefined;
    const hear = (samples: Int16Array): void => {
      if (conversation && !conversation.#muted) session.speak(samples);
    };
    let microphone: Microphone;
    try {
      microphone = await openMicrophone(workletUrl, session.sampleRateHz, hear);
    } catch (error) {
      void loudspeaker.close();
      throw error;
    }
    conversation = new Conversation(session, loudspeaker, microphone);
    session.connect();
    return conversation;
  }

  /** While it is muted, nothing that the microphone hears is said. */
  mute(muted: boolean): void {
    this.#muted = muted;
  }

  /** Silences the turn that sounds, at once; the server hears how much of it was heard. */
  interrupt(): void {
    const turn = this.#player.sounding;
    if (turn === undefined) return;
    const samples = this.#player.stop(turn);
    this.session.interrupt(turn, (samples * 1_000) / this.session.sampleRateHz);
  }

  #tellPlayed(): void {
    const turn = this.#player.sounding;
    if (turn === undefined) return;
    const samples = this.#player.played(turn);
    if (this.#told.get(turn) === samples) return;
    this.#told.set(turn, samples);
    this.session.played(turn, samples);
  }

  /** Lets go of the microphone and the loudspeaker, and ends the session. */
  stop(): void {
    clearInterval(this.#timer);
    for (const unlisten of this.#unlisten) unlisten();
    this.#microphone.stop();
    if (this.#loudspeaker.state !== 'closed') void this.#loudspeaker.close();
    if (this.session.status !== 'over') this.session.bye();
  }
}
