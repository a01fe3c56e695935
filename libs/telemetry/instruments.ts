import { metrics as openTelemetry } from "@opentelemetry/api";
import type { Instrument, Take } from "./instrument.ts";
import { onceServed } from "./once-served.ts";

/** A sum that only grows, for Prometheus from when metrics are served. One of the same name is shared. */
export function counter(instrument: Instrument): Take {
  const { name, unit, description } = instrument;
  let served: Take | undefined;
  onceServed(({ servedCounter }) => {
    served = servedCounter(instrument);
  });
  const sent = openTelemetry.getMeter("stillpoint").createCounter(name, { unit, description });
  return (value, labels = {}) => {
    served?.(value, labels);
    sent.add(value, labels);
  };
}

/** How values are spread. One of the same name is shared. Nothing is counted where nobody can ask. */
export function histogram(instrument: Instrument): Take {
  const { name, unit, description } = instrument;
  let served: Take | undefined;
  onceServed(({ servedHistogram }) => {
    served = servedHistogram(instrument);
  });
  const sent = openTelemetry.getMeter("stillpoint").createHistogram(name, { unit, description });
  return (value, labels = {}) => {
    served?.(value, labels);
    sent.record(value, labels);
  };
}
