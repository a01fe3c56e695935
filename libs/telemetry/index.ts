export { observeGauge } from "./gauge.ts";
export { reportHealth } from "./health.ts";
export { currentIds, enterIds, type Ids, withIds } from "./ids.ts";
export type { GaugeReading, ObservedGauge, Take } from "./instrument.ts";
export { counter, histogram } from "./instruments.ts";
export { serveMetrics } from "./metrics.ts";
export { metricsAreServed } from "./once-served.ts";
export { stopTelemetry } from "./stop.ts";
export {
  extractHeaders,
  type HeaderGetter,
  type HeaderSetter,
  injectHeaders,
  traceparent,
  withRemoteParent,
} from "./trace.ts";
