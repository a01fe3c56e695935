import { trace } from "@opentelemetry/api";
import { type Logger, pino } from "pino";
import { currentIds } from "#libs/telemetry";

export type { Logger } from "pino";

export interface LoggerOptions {
  /** The service. */
  readonly name: string;
  /** "debug", "info", "warn", "error" or "silent". */
  readonly level?: string;
  /** A file to append to; when left out that of STILLPOINT_LOG_FILE, or else standard output. */
  readonly file?: string | undefined;
}

/** JSON lines with the ids of the request, the operation and the trace that they belong to. */
export function createLogger({ name, level = "info", file = process.env.STILLPOINT_LOG_FILE }: LoggerOptions): Logger {
  const destination = pino.destination(file === undefined ? { dest: 1 } : { dest: file, mkdir: true, mode: 0o600 });
  return pino({ name, level, mixin, redact }, destination);
}

/** For tests. */
export const silentLogger: Logger = pino({ level: "silent" });

const redact = { paths: ["password", "token", "authorization", "*.password", "*.token", "*.authorization"] };

function mixin(): object {
  const span = trace.getActiveSpan()?.spanContext();
  return span === undefined ? currentIds() : { ...currentIds(), traceId: span.traceId, spanId: span.spanId };
}
