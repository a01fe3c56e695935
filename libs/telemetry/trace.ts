import {
  type Context,
  context,
  isSpanContextValid,
  propagation,
  ROOT_CONTEXT,
  SpanStatusCode,
  trace,
} from "@opentelemetry/api";
import { isTracing } from "./stop.ts";

const tracer = trace.getTracer("stillpoint");

/** The W3C traceparent of the current span; undefined when telemetry is off or no span is open. */
export function traceparent(): string | undefined {
  const span = trace.getSpanContext(context.active());
  if (span === undefined || !isSpanContextValid(span)) return undefined;
  return `00-${span.traceId}-${span.spanId}-${span.traceFlags.toString(16).padStart(2, "0")}`;
}

/** Runs `work` in a span named `name` whose parent came from another process; without one it is a child of the current span. */
export function withRemoteParent<Result>(
  parent: string | undefined,
  name: string,
  work: () => Promise<Result>,
): Promise<Result> {
  if (!isTracing()) return work();
  return tracer.startActiveSpan(name, {}, remoteContext(parent), async (span) => {
    try {
      return await work();
    } catch (error) {
      span.setStatus({ code: SpanStatusCode.ERROR, message: error instanceof Error ? error.message : String(error) });
      throw error;
    } finally {
      span.end();
    }
  });
}

/** Message headers, such as those of NATS. */
export interface HeaderSetter {
  set(key: string, value: string): void;
}
export interface HeaderGetter {
  get(key: string): string;
}

/** Writes the current span into message headers; nothing when telemetry is off. */
export function injectHeaders(headers: HeaderSetter): void {
  const parent = traceparent();
  if (parent !== undefined) headers.set("traceparent", parent);
}

/** The traceparent in message headers. */
export function extractHeaders(headers: HeaderGetter | undefined): string | undefined {
  const parent = headers?.get("traceparent");
  return parent === "" ? undefined : parent;
}

function remoteContext(parent: string | undefined): Context {
  if (parent === undefined) return context.active();
  return propagation.extract(ROOT_CONTEXT, { traceparent: parent });
}
