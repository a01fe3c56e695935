/** What is measured, as OpenTelemetry names it. */
export interface Instrument {
  /** "stillpoint.registry.reclaimed". Prometheus gets it with underscores and the unit. */
  readonly name: string;
  /** UCUM: bytes, seconds, or a number of something. */
  readonly unit: "By" | "s" | "1";
  readonly description: string;
  /** Names of the attributes that values have. */
  readonly attributes?: readonly string[];
}

/** Takes one more value; its attributes are few and known. */
export type Take = (value: number, attributes?: Readonly<Record<string, string>>) => void;

export interface GaugeReading {
  readonly value: number;
  readonly attributes?: Readonly<Record<string, string>>;
}

export interface ObservedGauge extends Instrument {
  read(): Iterable<GaugeReading>;
}
