import type { Job, JobContext, Step } from "#libs/operations";
import type { CreateInput } from "./create-state.ts";

/** A job that may take a checkpoint before anything else. */
export interface WithFirst {
  readonly first?: CreateInput;
}

/**
 * The steps that take a checkpoint, as the first ones of another job. They have nothing to do where none is asked for.
 * Once the checkpoint is published it stays, whatever comes of the rest of the job: it may be all that is left of now.
 */
export function takenFirst<Input extends WithFirst>(steps: Job<CreateInput>["steps"]): Step<Input>[] {
  return steps.map((step) => ({
    name: step.name,
    skip: async (context) => {
      const own = firstContext(context);
      return own === undefined || (await step.skip?.(own)) === true;
    },
    run: async (context) => {
      const own = firstContext(context);
      return own === undefined ? undefined : step.run(own);
    },
    undo: async (context) => {
      const own = firstContext(context);
      const isPublished = context.outputs.publish !== undefined;
      if (own !== undefined && !isPublished) await step.undo?.(own);
    },
  }));
}

/** The job's context as the steps that take the checkpoint see it; undefined when none is asked for. */
export function firstContext<Input extends WithFirst>(context: JobContext<Input>): JobContext<CreateInput> | undefined {
  const { first } = context.input;
  return first === undefined ? undefined : { ...context, input: first };
}
