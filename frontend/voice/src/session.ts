/**
 * One voice session. Its socket may be lost at any time: what was said is kept until it is acknowledged, what is heard has
 * numbers, and the session comes back by itself until the server says that there is nothing to come back to.
 */

import { type Waits, WAITS, waitMs } from './backoff.ts';
import { Emitter } from './emitter.ts';
import { type Message, Upward } from './upward.ts';
import {
  type AudioFrame,
  CLOSE,
  type Control,
  decodeAudio,
  decodeEvent,
  encodeAudio,
  type NotResumed,
  PING,
  PONG,
  PROTOCOL,
  type ServerEvent,
  TICKET_PREFIX,
  type TranscriptEvent,
  type TurnEvent,
} from './wire.ts';

/** Downward messages are acknowledged after so many, or so long after the first that was not. */
const ACK_MESSAGES = 16;
const ACK_MS = 250;
/** Before the server has said how often it wants to hear from a client. */
const HEARTBEAT_MS = 15_000;
/** How long a dial may take. */
const DIAL_MS = 10_000;
/** Dials by ticket that end without a word: the ticket may be used up by one of them, and is then the first token. */
const TICKET_DIALS = 2;

/** What `POST /api/voice/sessions` answered. */
export interface Opened {
  readonly session: string;
  readonly ticket: string;
  /** Of the socket; relative to `base` if that is given. */
  readonly url: string;
}

export interface Settings {
  /** Samples a second, both ways. */
  readonly sampleRateHz?: number;
  readonly base?: string;
  readonly waits?: Waits;
  /** Another WebSocket than the platform's. */
  readonly WebSocket?: typeof WebSocket;
  /** From 0 to 1; of the waits between dials. */
  readonly random?: () => number;
}

export type Status = 'connecting' | 'live' | 'away' | 'over';

export interface SessionEvents {
  /** `away`: the connection is lost, and is being made again. */
  status: Status;
  audio: { readonly turn: string; readonly frame: AudioFrame };
  turn: TurnEvent;
  transcript: TranscriptEvent;
  /** Sound of the turn up to this number is not to be played. */
  interrupted: { readonly turn: string; readonly at_seq: number };
  /** Speech was cut, because the client was too far behind or too long away. */
  gap: undefined;
  low_balance: { readonly ends_in_ms?: number };
  goaway: { readonly ms: number };
  /** The server did not understand; a mistake of this client. */
  error: { readonly code: string };
  over: Over;
}

/** Why it is over: the session ended, or there is nothing to come back to. */
export type Over =
  { readonly ended: string } | { readonly notResumed: NotResumed } | { readonly protocol: string };

type Phase = 'opening' | 'greeting' | 'replaying' | 'live';

export class VoiceSession extends Emitter<SessionEvents> {
  readonly #opened: Opened;
  readonly #settings: Settings;
  readonly #upward = new Upward();
  readonly #turns = new Map<number, string>();
  #socket: WebSocket | undefined;
  #phase: Phase = 'opening';
  #token: string | undefined;
  #ticketDials = 0;
  #lastDown = 0;
  #ackedDown = 0;
  #utterance = 0;
  #tries = 0;
  #heartbeatMs = HEARTBEAT_MS;
  #heardAt = 0;
  #status: Status = 'connecting';
  #leaves = false;
  #ackTimer: ReturnType<typeof setTimeout> | undefined;
  #beatTimer: ReturnType<typeof setInterval> | undefined;
  #dialTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(opened: Opened, settings: Settings = {}) {
    super();
    this.#opened = opened;
    this.#settings = settings;
  }

  get status(): Status {
    return this.#status;
  }

  get sampleRateHz(): number {
    return this.#settings.sampleRateHz ?? 24_000;
  }

  /** What was said and is not known to have arrived, in messages. */
  get unacknowledged(): number {
    return this.#upward.waiting;
  }

  /** Begins. Listeners are to be there already. */
  connect(): void {
    if (this.#status === 'connecting' && !this.#socket) this.#dial();
  }

  /** Says 60 to 100 ms of sound; false when more is waiting than is kept, and this is not taken. */
  speak(samples: Int16Array): boolean {
    const soundMs = (samples.length * 1_000) / this.sampleRateHz;
    if (this.#status === 'over' || !this.#upward.hasRoom(soundMs)) return false;
    const offset = this.#utterance;
    this.#utterance += samples.length;
    this.#say((seq) => encodeAudio(seq, offset, samples), soundMs);
    return true;
  }

  /** The utterance is over. */
  commit(turn?: string): void {
    this.#utterance = 0;
    this.#control((seq) => (turn === undefined ? { type: 'commit', seq } : { type: 'commit', seq, turn }));
  }

  /** A turn that is written instead of spoken. */
  say(text: string, turn?: string): void {
    this.#control((seq) => (turn === undefined ? { type: 'say', seq, text } : { type: 'say', seq, turn, text }));
  }

  /** Silence: of this turn, so much was heard. */
  interrupt(turn: string, playedMs: number): void {
    this.#control((seq) => ({ type: 'interrupt', seq, turn, played_ms: Math.round(playedMs) }));
  }

  /** So many samples of a turn were played. Said when it is convenient; not kept. */
  played(turn: string, samples: number): void {
    if (this.#phase === 'live') this.#send({ type: 'played', turn, media_offset: samples });
  }

  /**
   * Ends the session. What is not acknowledged by then may not count. While it is away it ends here at once, and there when
   * it was waited for long enough.
   */
  bye(): void {
    this.#leaves = true;
    if (this.#status === 'live') this.#send({ type: 'bye' });
    else this.#end({ ended: 'bye' });
  }

  #control(make: (seq: number) => Control): void {
    if (this.#status !== 'over') this.#say((seq) => JSON.stringify(make(seq)), 0);
  }

  #say(make: (seq: number) => Message, soundMs: number): void {
    const message = this.#upward.push(make, soundMs);
    if (this.#phase === 'live' || this.#phase === 'replaying') this.#sendRaw(message);
  }

  #send(control: Control): void {
    this.#sendRaw(JSON.stringify(control));
  }

  #sendRaw(message: Message): void {
    // A socket that is closing takes nothing; what it did not take is said again.
    if (this.#socket?.readyState === 1) this.#socket.send(message);
  }

  #dial(): void {
    clearTimeout(this.#dialTimer);
    const byTicket = this.#token === undefined && this.#ticketDials < TICKET_DIALS;
    if (byTicket) this.#ticketDials += 1;
    const protocols = byTicket ? [PROTOCOL, TICKET_PREFIX + this.#opened.ticket] : [PROTOCOL];
    const url = new URL(this.#opened.url, this.#settings.base);
    url.protocol = url.protocol.replace('http', 'ws');
    const socket = new (this.#settings.WebSocket ?? WebSocket)(url.href, protocols);
    socket.binaryType = 'arraybuffer';
    this.#socket = socket;
    this.#phase = 'opening';
    const isMine = (): boolean => this.#socket === socket;
    socket.addEventListener('open', () => {
      if (isMine()) this.#greet(byTicket);
    });
    socket.addEventListener('message', ({ data }: MessageEvent<unknown>) => {
      if (isMine()) this.#hear(data);
    });
    socket.addEventListener('close', ({ code }) => {
      if (isMine()) this.#lost(code);
    });
    this.#dialTimer = setTimeout(() => {
      if (isMine() && this.#phase !== 'live') this.#giveUp();
    }, DIAL_MS);
  }

  #greet(byTicket: boolean): void {
    this.#phase = 'greeting';
    this.#heardAt = Date.now();
    if (byTicket) {
      this.#ticketDials = TICKET_DIALS;
      return;
    }
    const token = this.#token ?? this.#opened.ticket;
    const { session } = this.#opened;
    this.#send({ type: 'resume', session, token, last_down: this.#lastDown, up_next: this.#upward.next });
  }

  /** The socket is of no use any more, and may not even close. */
  #giveUp(): void {
    const socket = this.#socket;
    this.#lost(0);
    socket?.close();
  }

  #lost(code: number): void {
    this.#socket = undefined;
    this.#phase = 'opening';
    clearTimeout(this.#ackTimer);
    clearTimeout(this.#dialTimer);
    clearInterval(this.#beatTimer);
    this.#ackTimer = undefined;
    if (this.#status === 'over') return;
    if (code === CLOSE.gap) return this.#end({ protocol: 'a message was skipped' });
    this.#become('away');
    const random = this.#settings.random ?? Math.random;
    const wait = waitMs(this.#settings.waits ?? WAITS, this.#tries, random());
    this.#tries += 1;
    this.#dialTimer = setTimeout(() => this.#dial(), wait);
  }

  #become(status: Status): void {
    if (this.#status === status) return;
    this.#status = status;
    this.emit('status', status);
  }

  #end(over: Over): void {
    if (this.#status === 'over') return;
    this.#become('over');
    const socket = this.#socket;
    this.#lost(0);
    socket?.close();
    this.emit('over', over);
  }

  #hear(data: unknown): void {
    this.#heardAt = Date.now();
    if (data === PONG) return;
    if (data instanceof ArrayBuffer) {
      const frame = decodeAudio(data);
      if (!frame) return this.#end({ protocol: 'a frame that is none' });
      if (this.#takes(frame.seq)) this.#hearSound(frame);
      return;
    }
    const event = typeof data === 'string' ? decodeEvent(data) : undefined;
    if (!event) return this.#end({ protocol: 'a message that is none' });
    const isNumbered = event.type !== 'ack' && 'seq' in event && event.seq !== undefined;
    if (!isNumbered || this.#takes(event.seq)) this.#note(event);
  }

  /** Whether a numbered message is new. One that was skipped makes this socket useless: what is missing comes by the next. */
  #takes(seq: number): boolean {
    if (seq <= this.#lastDown) return false;
    if (seq > this.#lastDown + 1) {
      this.#giveUp();
      return false;
    }
    this.#lastDown = seq;
    if (seq - this.#ackedDown >= ACK_MESSAGES) this.#acknowledge();
    else this.#ackTimer ??= setTimeout(() => this.#acknowledge(), ACK_MS);
    return true;
  }

  #acknowledge(): void {
    clearTimeout(this.#ackTimer);
    this.#ackTimer = undefined;
    this.#ackedDown = this.#lastDown;
    this.#send({ type: 'ack', seq: this.#lastDown });
  }

  #hearSound(frame: AudioFrame): void {
    const turn = this.#turns.get(frame.stream);
    if (turn !== undefined && !frame.dropped) this.emit('audio', { turn, frame });
  }

  #note(event: ServerEvent): void {
    switch (event.type) {
      case 'welcome':
        this.#heartbeatMs = event.heartbeat_ms;
        this.#begin(event.resume_token, event.up_next);
        this.#isLive();
        break;
      case 'resumed':
        this.#ackedDown = this.#lastDown;
        this.#begin(event.resume_token, event.up_next);
        if (event.gap) this.emit('gap', undefined);
        break;
      case 'replayed':
        this.#isLive();
        break;
      case 'resume_failed':
        this.#end({ notResumed: event.reason });
        break;
      case 'ended':
        this.#end({ ended: event.why });
        break;
      case 'ack':
        this.#upward.acknowledge(event.seq);
        break;
      case 'turn':
        if (event.turn !== null) this.#turns.set(event.stream, event.turn);
        this.emit('turn', event);
        break;
      case 'transcript':
        this.emit('transcript', event);
        break;
      case 'interrupted':
        this.emit('interrupted', event);
        break;
      case 'low_balance':
        this.emit('low_balance', event);
        break;
      case 'goaway':
        this.emit('goaway', event);
        break;
      case 'error':
        this.emit('error', event);
        break;
    }
  }

  /** The server has said how far it is: the rest is said again. */
  #begin(token: string, upNext: number): void {
    this.#token = token;
    this.#upward.acknowledge(upNext - 1);
    this.#phase = 'replaying';
    for (const message of this.#upward.again()) this.#sendRaw(message);
    // It has no number: it was lost with the last socket.
    if (this.#leaves) this.#send({ type: 'bye' });
  }

  #isLive(): void {
    this.#phase = 'live';
    this.#tries = 0;
    clearTimeout(this.#dialTimer);
    clearInterval(this.#beatTimer);
    this.#beatTimer = setInterval(() => {
      if (Date.now() - this.#heardAt >= 2 * this.#heartbeatMs) this.#giveUp();
      else this.#sendRaw(PING);
    }, this.#heartbeatMs);
    this.#become('live');
  }
}
