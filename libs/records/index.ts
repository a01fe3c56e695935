export { appendSurely, isUnanswered, type Patience, type SureWrite } from "./append-surely.ts";
export { ensureStream } from "./ensure-stream.ts";
export { JetStreamLog, openJetStreamLog } from "./jetstream-log.ts";
export type {
  AppendNextOptions,
  AppendOptions,
  FollowedMessage,
  FollowOptions,
  Log,
  LogMessage,
  OrderedLog,
} from "./log.ts";
export { createMemoryLog, MemoryLog, type MemoryLogOptions } from "./memory-log.ts";
export { connectNats, type NatsOptions, openNats } from "./nats-connection.ts";
export type { BodyCodec, NewRecord, RecordChange, RecordEvent, RecordStore, StoredRecord } from "./record.ts";
export { decodeRecord, type Json, type RecordMessage } from "./record-message.ts";
export { createRecordStore, LogRecordStore, type RecordStoreDeps, rawCodec } from "./record-store.ts";
export { RecordView, type RecordViewOptions, type ViewChange, type WatchOptions } from "./record-view.ts";
export { checkServer, openStreams, type StreamSpec, type Streams, streamSpecs } from "./streams.ts";
export { matchesFilter, nameOfSubject, subjectOfName } from "./subject.ts";
export { Wakeup } from "./wakeup.ts";
