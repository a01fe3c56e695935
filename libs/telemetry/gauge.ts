import { metrics as openTelemetry } from "@opentelemetry/api";
import { Gauge } from "prom-client";
import { processMetrics } from "./metrics.ts";

export interface GaugeReading {
  readonly value: number;
  readonly attributes?: Readonly<Record<string, string>>;
}

export interface ObservedGauge {
  /** As OpenTelemetry names it: "stillpoint.host.disk_free". Prometheus gets it with underscores and the unit. */
  readonly name: string;
  /** UCUM: bytes, seconds, or a number of something. */
  readonly unit: "By" | "s" | "1";
  readonly description: string;
  /** Names of the attributes that readings have. */
  readonly attributes?: readonly string[];
  read(): Iterable<GaugeReading>;
}

const suffixes = { By: "_bytes", s: "_seconds", "1": "" } as const;

/**
 * A number that is read whenever somebody asks: by Prometheus where metrics are served, and by OpenTelemetry where its
 * SDK is set up to send metrics. Observed until the answered function is called; another of the same name replaces it.
 */
export function observeGauge(observed: ObservedGauge): () => void {
  const { name, unit, description, attributes = [] } = observed;
  const served = name.replaceAll(".", "_") + suffixes[unit];
  processMetrics.removeSingleMetric(served);
  const gauge = new Gauge({
    name: served,
    help: description,
    labelNames: attributes,
    registers: [processMetrics],
    collect() {
      this.reset();
      for (const { value, attributes: labels = {} } of observed.read()) this.set(labels, value);
    },
  });
  const sent = openTelemetry.getMeter("stillpoint").createObservableGauge(name, { unit, description });
  const report: Parameters<typeof sent.addCallback>[0] = (result) => {
    for (const reading of observed.read()) result.observe(reading.value, reading.attributes);
  };
  sent.addCallback(report);
  return () => {
    sent.removeCallback(report);
    if (processMetrics.getSingleMetric(served) === gauge) processMetrics.removeSingleMetric(served);
  };
}
