import type { Job, JobContext, JobOutput, Outcome } from "#libs/operations";
import { prepareStep } from "../jobs/create.ts";
import { freezeEvents } from "../jobs/freeze-events.ts";
import { publishStep } from "../jobs/publish.ts";
import { discardUnproven, offlineStep, refuseStep, standardStep, verifyStep } from "../jobs/take.ts";
import { typeWords } from "../records/contract-words.ts";
import { freezeTogetherStep } from "./freeze-together.ts";
import { memberStep, settleTogether } from "./member-step.ts";
import {
  type GroupCreateInput,
  type GroupDeps,
  holdMembersStep,
  memberContext,
  memberContexts,
  releaseGroup,
} from "./members.ts";
import { publishGroupStep } from "./publish-group.ts";

/**
 * Takes a checkpoint of several VMs at one instant: the story of one VM's checkpoint, told for all members, with the
 * same decision for all. Records are written last; when anything fails before, every host discards what it took.
 */
export function groupCreateJob(deps: GroupDeps): Job<GroupCreateInput> {
  return {
    kind: "checkpoint.group-create",
    steps: [
      holdMembersStep(deps),
      memberStep(prepareStep(deps), { ...deciding, together: true }),
      freezeTogetherStep(deps),
      memberStep(offlineStep(deps), each),
      memberStep(verifyStep(deps), { ...deciding, together: true }),
      memberStep(refuseStep(), each),
      memberStep(discardUnproven(deps), each),
      memberStep(standardStep(deps), { ...each, together: true }),
      memberStep(publishStep(deps), each),
      publishGroupStep(deps),
    ],
    conclude: (context, outcome) => conclude(deps, context, outcome),
  };
}

const each = { contexts: memberContexts };
/** Steps after which something is decided, which has to be the same for all. */
const deciding = { ...each, settle: settleTogether };

async function conclude(
  deps: GroupDeps,
  context: JobContext<GroupCreateInput>,
  outcome: Outcome,
): Promise<JobOutput | undefined> {
  if (outcome.succeeded) {
    await releaseGroup(deps, context, { ofGroup: [] });
    return context.outputs["publish-group"];
  }
  const { asked, displayName } = context.input;
  const { reason, message, metadata } = outcome.error;
  const data = {
    group: context.target,
    displayName,
    asked: typeWords[asked],
    reason: metadata.productionReason ?? reason,
    error: reason,
    message,
  };
  await releaseGroup(deps, context, {
    ofGroup: [{ aggregate: "group", happened: "checkpoint_failed", data }],
    ofVm: (member) => freezeEvents(memberContext(context, member)),
  });
  return undefined;
}
