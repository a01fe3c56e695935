import type { Event } from "#contracts/event/v1/event";
import type { LogMessage, RecordEvent } from "#libs/records";

/** Where in stream REC an event comes from: the sequence of the record, and which of its events it is. */
export interface Origin {
  readonly sequence: number;
  readonly index: number;
  /** How many events that record carried. */
  readonly count: number;
}

/** A CloudEvent 1.0 in structured JSON mode, with our extension attributes. */
interface CloudEvent {
  readonly specversion: "1.0";
  readonly type: string;
  readonly source: string;
  readonly id: string;
  /** Resource name. */
  readonly subject: string;
  readonly time: string;
  readonly datacontenttype: "application/json";
  readonly data: Readonly<Record<string, unknown>>;
  /** From the extension "distributed tracing". */
  readonly traceparent?: string;
  readonly recsequence: number;
  readonly recindex: number;
  readonly reccount: number;
}

const SOURCE = "/stillpoint";
const encoder = new TextEncoder();
const decoder = new TextDecoder();

/**
 * evt.<aggregate>.v1.<happened>.<project>.<name>: the name is the resource's ids below the project, one token each;
 * what belongs to no project has `-` there.
 */
export function subjectOfEvent(event: RecordEvent, resource: string): string {
  return subjectBelow("evt", event, resource);
}

function subjectBelow(prefix: string, { aggregate, happened }: Happening, resource: string): string {
  const ids = resource.split("/").filter((_, index) => index % 2 === 1);
  const [project, ...name] = resource.startsWith("projects/") ? ids : ["-", ...ids];
  return [prefix, aggregate, "v1", happened, project, ...name].join(".");
}

type Happening = Pick<RecordEvent, "aggregate" | "happened">;

/** An event that no record carries, for a stream of its own that may lose some. */
export interface LooseEvent extends Happening {
  /** The first token of its subject; `evt` is of events that records carry. */
  readonly prefix: string;
  readonly id: string;
  /** Resource name. */
  readonly resource: string;
  readonly time: Date;
  readonly data: Readonly<Record<string, unknown>>;
}

/** Subject and CloudEvent, in the form of all other events. */
export function encodeLooseEvent(event: LooseEvent): { readonly subject: string; readonly data: Uint8Array } {
  const { prefix, aggregate, happened, id, resource, time, data } = event;
  const cloudEvent = {
    ...{ specversion: "1.0", type: `stillpoint.${aggregate}.v1.${happened}`, source: SOURCE, id, subject: resource },
    ...{ time: time.toISOString(), datacontenttype: "application/json", data },
  };
  return { subject: subjectBelow(prefix, event, resource), data: encoder.encode(JSON.stringify(cloudEvent)) };
}

/** `recordTime` is when the record was written, for events that have no time of their own. */
export function encodeEvent(event: RecordEvent, resource: string, origin: Origin, recordTime: Date): Uint8Array {
  const cloudEvent: CloudEvent = {
    specversion: "1.0",
    type: `stillpoint.${event.aggregate}.v1.${event.happened}`,
    source: SOURCE,
    id: eventId(origin),
    subject: resource,
    time: event.time ?? recordTime.toISOString(),
    datacontenttype: "application/json",
    data: event.data,
    ...(event.traceparent === undefined ? {} : { traceparent: event.traceparent }),
    ...{ recsequence: origin.sequence, recindex: origin.index, reccount: origin.count },
  };
  return encoder.encode(JSON.stringify(cloudEvent));
}

/** Unique among all events of one installation. */
export const eventId = ({ sequence, index }: Origin): string => `${sequence}.${index}`;

export function decodeOrigin({ data }: LogMessage): Origin {
  const { recsequence, recindex, reccount } = parse(data);
  return { sequence: recsequence, index: recindex, count: reccount };
}

/** The event as the API shows it. */
export function toEvent({ subject, sequence, data }: LogMessage): Event {
  const { id, type, source, subject: resource, time, data: body } = parse(data);
  return { token: `${sequence}`, subject, id, type, source, resource, time: new Date(time), data: { ...body } };
}

function parse(data: Uint8Array): CloudEvent {
  return JSON.parse(decoder.decode(data)) as CloudEvent;
}
