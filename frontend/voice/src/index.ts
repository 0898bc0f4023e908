/** A client of `voice.v1`, for browsers. Sessions are opened with `POST /api/voice/sessions`. */

export { type Waits, WAITS, waitMs } from './backoff.ts';
export { Conversation } from './conversation.ts';
export { type Microphone, openMicrophone } from './microphone.ts';
export { Player } from './player.ts';
export { type Opened, type Over, type SessionEvents, type Settings, type Status, VoiceSession } from './session.ts';
export { BUFFER_MS_MAX } from './upward.ts';
export type { AudioFrame, Latencies, NotResumed, TranscriptEvent, TurnEvent, TurnState } from './wire.ts';
