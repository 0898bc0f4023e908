/** The messages of `voice.v1`. Numbers in frames are little-endian, as the samples are. */

/** The WebSocket subprotocol, and what a ticket is offered as beside it. */
export const PROTOCOL = 'cog.voice.v1';
export const TICKET_PREFIX = 'cog.ticket.';
/** Asked and answered by the runtime, which wakes nobody for it. */
export const PING = 'ping';
export const PONG = 'pong';

/** Why a server closes a socket. */
export const CLOSE = {
  takenOver: 4001,
  ended: 4002,
  notResumed: 4004,
  gap: 4008,
  behind: 4009,
  dead: 4010,
} as const;

const HEADER_BYTES = 12;
const AUDIO = 1;
const DROPPED = 1;

export interface AudioFrame {
  /** The sound was dropped by an interruption; only its number is left. */
  readonly dropped: boolean;
  /** The turn's number, modulo 65,536. */
  readonly stream: number;
  readonly seq: number;
  /** Samples of the turn before this frame. */
  readonly mediaOffset: number;
  /** One channel of 16 bits. */
  readonly samples: Int16Array<ArrayBuffer>;
}

export type TurnState =
  'listening' | 'committed' | 'stt' | 'thinking' | 'speaking' | 'done' | 'interrupted' | 'failed';

/** Where the time of a turn went, in milliseconds, as far as it went. */
export interface Latencies {
  readonly stt_ms: number | null;
  readonly llm_first_ms: number | null;
  readonly tts_first_ms: number | null;
}

export type NotResumed = 'expired' | 'evicted' | 'bad_token' | 'superseded';

/** What the server says beside sound. Those with a `seq` are said again after a resume. */
export type ServerEvent =
  | {
      readonly type: 'welcome';
      readonly session: string;
      readonly epoch: number;
      readonly resume_token: string;
      readonly window_ms: number;
      readonly up_next: number;
      readonly down_next: number;
      readonly heartbeat_ms: number;
    }
  | {
      readonly type: 'resumed';
      readonly epoch: number;
      readonly resume_token: string;
      readonly up_next: number;
      readonly replay_from: number;
      readonly gap: boolean;
    }
  | { readonly type: 'replayed' }
  | { readonly type: 'resume_failed'; readonly reason: NotResumed }
  | { readonly type: 'ack'; readonly seq: number }
  | { readonly type: 'error'; readonly code: string }
  | { readonly type: 'goaway'; readonly ms: number }
  | { readonly type: 'ended'; readonly why: string }
  | { readonly type: 'low_balance'; readonly ends_in_ms?: number }
  | TurnEvent
  | TranscriptEvent
  | { readonly type: 'interrupted'; readonly seq: number; readonly turn: string; readonly at_seq: number };

export interface TurnEvent {
  readonly type: 'turn';
  readonly seq: number;
  /** None while it is listened to. */
  readonly turn: string | null;
  readonly stream: number;
  readonly state: TurnState;
  readonly gap?: boolean;
  readonly code?: string;
  readonly latencies?: Latencies;
}

export interface TranscriptEvent {
  readonly type: 'transcript';
  /** Partial ones have no number, and are not said again. */
  readonly seq?: number;
  readonly turn: string;
  readonly role: 'user' | 'assistant';
  readonly text: string;
  readonly final: boolean;
}

/** What a client says beside sound. */
export type Control =
  | {
      readonly type: 'resume';
      readonly session: string;
      readonly token: string;
      readonly last_down: number;
      readonly up_next: number;
    }
  | { readonly type: 'commit'; readonly seq: number; readonly turn?: string }
  | { readonly type: 'say'; readonly seq: number; readonly turn?: string; readonly text: string }
  | { readonly type: 'interrupt'; readonly seq: number; readonly turn: string; readonly played_ms: number }
  | { readonly type: 'ack'; readonly seq: number }
  | { readonly type: 'played'; readonly turn: string; readonly media_offset: number }
  | { readonly type: 'bye' };

/** One upward frame of sound. */
export function encodeAudio(seq: number, mediaOffset: number, samples: Int16Array): ArrayBuffer {
  const bytes = new ArrayBuffer(HEADER_BYTES + samples.length * 2);
  const view = new DataView(bytes);
  view.setUint8(0, AUDIO);
  view.setUint32(4, seq, true);
  view.setUint32(8, mediaOffset, true);
  samples.forEach((sample, at) => view.setInt16(HEADER_BYTES + at * 2, sample, true));
  return bytes;
}

/** A downward frame; `undefined` when it is none. */
export function decodeAudio(bytes: ArrayBuffer): AudioFrame | undefined {
  const count = (bytes.byteLength - HEADER_BYTES) / 2;
  if (count < 0 || !Number.isInteger(count)) return undefined;
  const view = new DataView(bytes);
  if (view.getUint8(0) !== AUDIO) return undefined;
  const samples = new Int16Array(count);
  for (let at = 0; at < count; at += 1) samples[at] = view.getInt16(HEADER_BYTES + at * 2, true);
  return {
    dropped: (view.getUint8(1) & DROPPED) !== 0,
    stream: view.getUint16(2, true),
    seq: view.getUint32(4, true),
    mediaOffset: view.getUint32(8, true),
    samples,
  };
}

/** An event; `undefined` when it is none. Kinds that are not known here are newer than this client, and passed over. */
export function decodeEvent(text: string): ServerEvent | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  const is = typeof value === 'object' && value !== null && 'type' in value && typeof value.type === 'string';
  return is ? (value as ServerEvent) : undefined;
}
