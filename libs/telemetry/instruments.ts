import { metrics as openTelemetry } from "@opentelemetry/api";
import { Counter, Histogram } from "prom-client";
import { metricsAreServed, processMetrics } from "./metrics.ts";

export interface Instrument {
  /** As OpenTelemetry names it: "stillpoint.registry.reclaimed". Prometheus gets it with underscores and the unit. */
  readonly name: string;
  /** UCUM: bytes, seconds, or a number of something. */
  readonly unit: "By" | "s" | "1";
  readonly description: string;
  /** Names of the attributes that values have. */
  readonly attributes?: readonly string[];
}

/** Takes one more value; its attributes are few and known. */
export type Take = (value: number, attributes?: Readonly<Record<string, string>>) => void;

const suffixes = { By: "_bytes", s: "_seconds", "1": "" } as const;
const prometheusName = ({ name, unit }: Instrument) => name.replaceAll(".", "_") + suffixes[unit];

/** A sum that only grows. One of the same name is shared. */
export function counter(instrument: Instrument): Take {
  const { name: own, unit, description, attributes = [] } = instrument;
  const name = `${prometheusName(instrument)}_total`;
  const served =
    processMetrics.getSingleMetric(name) ??
    new Counter({ name, help: description, labelNames: attributes, registers: [processMetrics] });
  const sent = openTelemetry.getMeter("stillpoint").createCounter(own, { unit, description });
  return (value, labels = {}) => {
    if (served instanceof Counter) served.inc(labels, value);
    sent.add(value, labels);
  };
}

/** How values are spread. One of the same name is shared. Nothing is counted where nobody can ask. */
export function histogram(instrument: Instrument): Take {
  const { name: own, unit, description, attributes = [] } = instrument;
  const name = prometheusName(instrument);
  const served =
    processMetrics.getSingleMetric(name) ??
    new Histogram({ name, help: description, labelNames: attributes, registers: [processMetrics] });
  const sent = openTelemetry.getMeter("stillpoint").createHistogram(own, { unit, description });
  return (value, labels = {}) => {
    if (metricsAreServed() && served instanceof Histogram) served.observe(labels, value);
    sent.record(value, labels);
  };
}
