/** What Prometheus is served. Loaded where metrics are served alone: the library costs a start 40 ms. */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import type { Instrument, ObservedGauge, Take } from "./instrument.ts";

/** The process's own metrics; those of its calls are in the registry of nice-grpc-prometheus. */
const processMetrics = new Registry();
collectDefaultMetrics({ register: processMetrics });

const suffixes = { By: "_bytes", s: "_seconds", "1": "" } as const;
const servedName = ({ name, unit }: Instrument) => name.replaceAll(".", "_") + suffixes[unit];

const settings = (instrument: Instrument, name = servedName(instrument)) => {
  const { description, attributes = [] } = instrument;
  return { name, help: description, labelNames: attributes, registers: [processMetrics] };
};

/** A sum; one of the same name is shared. */
function servedCounter(instrument: Instrument): Take {
  const name = `${servedName(instrument)}_total`;
  const counter = processMetrics.getSingleMetric(name) ?? new Counter(settings(instrument, name));
  return (value, labels = {}) => {
    if (counter instanceof Counter) counter.inc(labels, value);
  };
}

/** How values are spread; one of the same name is shared. */
function servedHistogram(instrument: Instrument): Take {
  const histogram = processMetrics.getSingleMetric(servedName(instrument)) ?? new Histogram(settings(instrument));
  return (value, labels = {}) => {
    if (histogram instanceof Histogram) histogram.observe(labels, value);
  };
}

/** Read at each request until the answered function is called; it takes the place of another of the same name. */
function servedGauge(observed: ObservedGauge): () => void {
  const name = servedName(observed);
  processMetrics.removeSingleMetric(name);
  const gauge = new Gauge({
    ...settings(observed),
    collect() {
      this.reset();
      for (const { value, attributes = {} } of observed.read()) this.set(attributes, value);
    },
  });
  return () => {
    if (processMetrics.getSingleMetric(name) === gauge) processMetrics.removeSingleMetric(name);
  };
}

/** All metrics of the process as they are now. What was registered after the start is among them. */
async function metricsText(): Promise<{ contentType: string; text: string }> {
  const { registry } = await import("nice-grpc-prometheus");
  const all = Registry.merge([processMetrics, registry]);
  return { contentType: all.contentType, text: await all.metrics() };
}

/** Instruments under Prometheus's names, and what it reads. */
export const prometheus = { servedCounter, servedHistogram, servedGauge, metricsText };
