import { StillpointError } from "#libs/errors";
import { describeRefusal, type Explanation, explain } from "../domain/explain.ts";
import type { Reservation } from "../domain/host.ts";
import type { FreeCapacity } from "./free-capacity.ts";

/** Why no host takes something; of many that ask for the same it is found out once. */
export class Refusals {
  readonly #free: FreeCapacity;
  readonly #known = new Map<string, Explanation>();

  constructor(free: FreeCapacity) {
    this.#free = free;
  }

  /** NO_HOST_FITS with the first rule that failed for each host; UNAVAILABLE when one would take it by now. */
  of(wanted: Reservation): StillpointError {
    const project = projectOf(wanted);
    const key = JSON.stringify([project, wanted.requirements]);
    const explanation =
      this.#known.get(key) ??
      explain(this.#free.inOrder(), wanted.requirements, (workload) => workload.startsWith(project));
    this.#known.set(key, explanation);
    const { verdicts, suggestion } = explanation;
    if (verdicts.some(({ failure }) => failure === undefined)) {
      return new StillpointError("UNAVAILABLE", `the hosts that ${wanted.workload} fits change hands`);
    }
    const perHost = verdicts
      .slice(0, 100)
      .flatMap(({ host, failure }) => (failure === undefined ? [] : [[host, `${failure.rule}: ${failure.detail}`]]));
    return new StillpointError("NO_HOST_FITS", `no host fits ${wanted.workload}: ${describeRefusal(explanation)}`, {
      metadata: { ...Object.fromEntries(perHost), suggestion },
    });
  }
}

/** `projects/<project>/`, which its workloads begin with. */
const projectOf = ({ workload }: Reservation): string => `${workload.split("/").slice(0, 2).join("/")}/`;
