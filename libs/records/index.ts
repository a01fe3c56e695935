export type { AppendOptions, FollowedMessage, FollowOptions, Log, LogMessage } from "./log.ts";
export type { BodyCodec, NewRecord, RecordChange, RecordEvent, RecordStore, StoredRecord } from "./record.ts";
