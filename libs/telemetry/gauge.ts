import { metrics as openTelemetry } from "@opentelemetry/api";
import type { ObservedGauge } from "./instrument.ts";
import { onceServed } from "./once-served.ts";

/**
 * A number that is read whenever somebody asks: by Prometheus where metrics are served, and by OpenTelemetry where its
 * SDK is set up to send metrics. Observed until the answered function is called; another of the same name replaces it.
 */
export function observeGauge(observed: ObservedGauge): () => void {
  const { name, unit, description } = observed;
  let endServing: (() => void) | undefined;
  const forget = onceServed(({ servedGauge }) => {
    endServing = servedGauge(observed);
  });
  const sent = openTelemetry.getMeter("stillpoint").createObservableGauge(name, { unit, description });
  const report: Parameters<typeof sent.addCallback>[0] = (result) => {
    for (const reading of observed.read()) result.observe(reading.value, reading.attributes);
  };
  sent.addCallback(report);
  return () => {
    sent.removeCallback(report);
    forget();
    endServing?.();
  };
}
