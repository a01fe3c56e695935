export { type GaugeReading, type ObservedGauge, observeGauge } from "./gauge.ts";
export { reportHealth } from "./health.ts";
export { currentIds, enterIds, type Ids, withIds } from "./ids.ts";
export { counter, histogram, type Take } from "./instruments.ts";
export { metricsAreServed, serveMetrics } from "./metrics.ts";
export { stopTelemetry } from "./stop.ts";
export {
  extractHeaders,
  type HeaderGetter,
  type HeaderSetter,
  injectHeaders,
  traceparent,
  withRemoteParent,
} from "./trace.ts";
