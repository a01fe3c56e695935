import type { ImagesClient } from "#contracts/registry/v1/registry";
import { CreateVmRequest, Vm, type VmSpec, VmState } from "#contracts/vm/v1/vm";
import type { Clock, Random } from "#libs/clock";
import { StillpointError } from "#libs/errors";
import { parseProject, vmName } from "#libs/names";
import type { Operations } from "#libs/operations";
import type { Json } from "#libs/records";
import type { CallScope } from "#libs/rpc";
import { labelProblems } from "#libs/spec-checks";
import { accepting, refuseProblems } from "#libs/workloads";
import { nameDisks, rootSize } from "./domain/build-plan.ts";
import { validateSpec } from "./domain/validate-spec.ts";
import { vmKind } from "./vm-kind.ts";

export interface CreateDeps {
  readonly operations: Pick<Operations, "accept">;
  readonly images: Pick<ImagesClient, "getImage">;
  readonly clock: Clock;
  readonly random: Random;
}

interface PinnedImage {
  /** <repository>@sha256:...; empty for none. */
  readonly digest: string;
  /** 0 when unknown. */
  readonly virtualSizeBytes: number;
}

const imageType = "application/vnd.stillpoint.vm.image.v1+json";

/** Checks a request for a VM, pins its image to a digest, and accepts the job that makes it. */
export async function acceptCreate(deps: CreateDeps, request: CreateVmRequest, call: CallScope) {
  const name = vmName(parseProject(request.parent), request.vmId);
  const spec = checkedSpec(request);
  const image = await vmImage(deps.images, spec);
  const body = newVm(deps, { name, spec: sizedSpec(spec, image), labels: request.labels, image });
  const fingerprint = CreateVmRequest.toJSON({ ...request, requestId: "" }) as Json;
  return deps.operations.accept<Vm>(
    {
      ...accepting(vmKind, call, { name, requestId: request.requestId }),
      kind: "vm.create",
      input: { uid: body.uid, start: request.start },
      fingerprint,
    },
    { codec: Vm, create: { uid: body.uid, body }, existsReason: vmKind.reasons.exists },
  );
}

/** Fails with ARGUMENT_INVALID, naming every field that is wrong. */
function checkedSpec({ spec, labels }: CreateVmRequest): VmSpec {
  if (spec === undefined) throw new StillpointError("ARGUMENT_INVALID", "spec is missing");
  refuseProblems([...validateSpec(spec), ...labelProblems("labels", labels)]);
  return spec;
}

/**
 * The image behind the spec, as it is pinned. One that stands on a checkpoint may have no image, or the one that its
 * source was pinned to: that is on the host already, and need not be in the registry any more.
 */
async function vmImage(
  images: CreateDeps["images"],
  { image: reference, fromCheckpoint }: VmSpec,
): Promise<PinnedImage> {
  if (fromCheckpoint !== "" && (reference === "" || reference.includes("@"))) {
    return { digest: reference, virtualSizeBytes: 0 };
  }
  const image = await images.getImage({ reference });
  if (image.artifactType === imageType) {
    return { digest: `${image.repository}@${image.digest}`, virtualSizeBytes: image.virtualSizeBytes };
  }
  throw new StillpointError("IMAGE_INVALID", `${reference} is not a VM image but ${image.artifactType}`, {
    help: "Import a disk image with: stillpoint image import",
  });
}

function sizedSpec(spec: VmSpec, image: PinnedImage): VmSpec {
  const rootSizeBytes = rootSize(spec.rootSizeBytes, image.virtualSizeBytes);
  if (rootSizeBytes === undefined) {
    const smallest = `the image's ${image.virtualSizeBytes} bytes`;
    throw new StillpointError(
      "ARGUMENT_INVALID",
      `spec.root_size_bytes must be at least ${smallest}, not ${spec.rootSizeBytes}`,
      { metadata: { field: "spec.root_size_bytes" } },
    );
  }
  return { ...spec, rootSizeBytes, disks: nameDisks(spec.disks) };
}

interface Asked {
  readonly name: string;
  readonly spec: VmSpec;
  readonly labels: CreateVmRequest["labels"];
  readonly image: PinnedImage;
}

function newVm({ clock, random }: CreateDeps, { name, spec, labels, image }: Asked): Vm {
  return Vm.fromPartial({
    name,
    uid: random.id("vm"),
    spec,
    labels,
    state: VmState.CREATING,
    imageDigest: image.digest,
    guestAgent: { connected: false, version: "" },
    createTime: clock.now(),
  });
}
