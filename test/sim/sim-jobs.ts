import { StillpointError } from "#libs/errors";
import type { Job, JobContext, Operations, Step } from "#libs/operations";
import { createRecordStore, type Json, type Log, type RecordStore, rawCodec } from "#libs/records";
import type { SimAgent } from "./sim-agent.ts";
import type { SimRandom } from "./sim-clock.ts";
import type { SimProcess } from "./sim-process.ts";

export interface JobWorld {
  readonly agent: SimAgent;
  readonly random: SimRandom;
}

/** The jobs of the simulation, as one process runs them: steps on a fenced agent, and an end that frees the target. */
export function simJobs(world: JobWorld, process: SimProcess, records: Log, operations: Operations): Job[] {
  const store = createRecordStore({ log: records, codec: rawCodec, clock: process.clock, random: world.random });
  const conclude: NonNullable<Job["conclude"]> = async ({ target, operationId, input }, outcome) => {
    const remove = outcome.succeeded ? (input as Json).removes === true : (input as Json).creates === true;
    const stored = await store.get(target);
    if (stored?.operation !== operationId) return { concluded: operationId };
    if (remove) await store.remove(stored);
    else await store.update(stored, { operation: null, body: { by: operationId } });
    return { concluded: operationId };
  };
  const steps = (names: readonly string[]) => names.map((name) => agentStep(world, process, name));
  return [
    { kind: "sim.create", steps: steps(["place", "disks", "boot"]), conclude },
    { kind: "sim.change", steps: steps(["freeze", "thaw"]), conclude },
    { kind: "sim.remove", steps: steps(["stop"]), conclude },
    { kind: "sim.free", steps: steps(["once"]) },
    pairJob(world, process, { operations, store, conclude }),
  ];
}

interface PairParts {
  readonly operations: Operations;
  readonly store: RecordStore<Json>;
  readonly conclude: NonNullable<Job["conclude"]>;
}

/** Works on a second record beside its target; refused when that is not there, or busy. */
function pairJob(world: JobWorld, process: SimProcess, { operations, store, conclude }: PairParts): Job {
  const alsoOf = ({ input }: JobContext) => String((input as Json).also);
  const hold = async (context: JobContext) => {
    await operations.holdAlso(context.operationId, alsoOf(context));
    return { held: true };
  };
  const second = agentStep(world, process, "second", (context) => alsoOf(context));
  return {
    kind: "sim.pair",
    steps: [{ name: "hold", run: hold }, agentStep(world, process, "first"), second],
    conclude: async (context, outcome) => {
      const { operationId } = context;
      await store.modify(alsoOf(context), ({ operation }) =>
        operation === operationId ? { operation: null } : undefined,
      );
      return await conclude(context, outcome);
    },
  };
}

function agentStep(
  { agent, random }: JobWorld,
  process: SimProcess,
  name: string,
  workloadOf = ({ target, operationId }: JobContext) => target || operationId,
): Step {
  const effectOf = ({ operationId, epoch }: JobContext) => ({ operationId, epoch, step: name });
  return {
    name,
    run: async (context) => {
      if ((context.input as Json).failsAt === name && random.chance(0.5)) throw broken(name);
      await process.port(() => agent.run(workloadOf(context), effectOf(context)));
      if ((context.input as Json).failsAt === name) throw broken(name);
      return { [name]: context.epoch };
    },
    undo: (context) => process.port(() => agent.undo(workloadOf(context), effectOf(context))),
  };
}

const broken = (name: string) => new StillpointError("QEMU_FAILED", `${name} does not work`);
