/**
 * Loaded before the application: `node --import ./libs/telemetry/register.ts services/vm/main.ts`. Starts tracing when
 * OTEL_EXPORTER_OTLP_ENDPOINT is set or STILLPOINT_TELEMETRY is "on"; otherwise it does nothing at all.
 */
import { register } from "node:module";

const { OTEL_EXPORTER_OTLP_ENDPOINT, STILLPOINT_TELEMETRY } = process.env;

if (STILLPOINT_TELEMETRY === "on" || OTEL_EXPORTER_OTLP_ENDPOINT !== undefined) {
  // Must be the first statement that loads anything: a module that was loaded before this hook is never
  // instrumented, without a warning (opentelemetry-js #6909). Hence the dynamic import after it.
  register("@opentelemetry/instrumentation/hook.mjs", import.meta.url);
  const { startTracing } = await import("./start-tracing.ts");
  startTracing();
}
