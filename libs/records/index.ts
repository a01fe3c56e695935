export { appendSurely, isUnanswered } from "./append-surely.ts";
export { compact, startCompactor } from "./compactor.ts";
export { createOnce } from "./create-once.ts";
export { ensureConsumer } from "./ensure-consumer.ts";
export { ensureStream } from "./ensure-stream.ts";
export { connectHost } from "./host-connection.ts";
export { openJetStreamLog } from "./jetstream-log.ts";
export type {
  AppendOptions,
  FollowedMessage,
  FollowOptions,
  Log,
  LogMessage,
  OrderedLog,
} from "./log.ts";
export { createMemoryLog, MemoryLog, type MemoryLogOptions } from "./memory-log.ts";
export { connectNats, openNats } from "./nats-connection.ts";
export { natsHealth } from "./nats-health.ts";
export { readMonitor, type ServerReport } from "./nats-monitor.ts";
export { type PageRequest, readPage } from "./page.ts";
export { pageSize } from "./page-size.ts";
export type { BodyCodec, RecordChange, RecordEvent, RecordStore, StoredRecord } from "./record.ts";
export { decodeRecord, deletedUid, type Json, type RecordMessage } from "./record-message.ts";
export { createRecordStore, LogRecordStore, rawCodec } from "./record-store.ts";
export { type Mirror, RecordView, type ViewChange } from "./record-view.ts";
export { ensureStreams, openStreams, replicated, type Streams, streamSpecs } from "./streams.ts";
export { nameOfSubject, subjectOfName } from "./subject.ts";
export { Wakeup } from "./wakeup.ts";
