import {
  Container,
  ContainerSpec,
  ContainerState,
  CreateContainerRequest,
  DrainPolicy,
  RestartPolicy_Mode,
} from "#contracts/container/v1/container";
import type { Image, ImagesClient } from "#contracts/registry/v1/registry";
import type { Clock, Random } from "#libs/clock";
import { StillpointError } from "#libs/errors";
import { containerName, parseProject } from "#libs/names";
import type { Operations } from "#libs/operations";
import type { Json } from "#libs/records";
import type { CallScope } from "#libs/rpc";
import { labelProblems, type Problem } from "#libs/spec-checks";
import { accepting, refuseProblems, wholeLimits } from "#libs/workloads";
import { containerKind } from "./container-kind.ts";

import { validateSpec } from "./domain/validate-spec.ts";
import { type InheritDeps, withInherited } from "./inherited-secrets.ts";
import { fingerprinted, sealSecrets } from "./sealed-secrets.ts";

export interface CreateDeps extends InheritDeps {
  readonly operations: Pick<Operations, "accept">;
  readonly images: Pick<ImagesClient, "getImage">;
  readonly clock: Clock;
  readonly random: Random;
}

/** Checks a request for a container, pins its image to a digest, and accepts the job that makes it. */
export async function acceptCreate(deps: CreateDeps, request: CreateContainerRequest, call: CallScope) {
  const project = parseProject(request.parent);
  const name = containerName(project, request.containerId);
  const { spec, labels } = request;
  if (spec === undefined) throw new StillpointError("ARGUMENT_INVALID", "spec is missing");
  refuseProblems([...validateSpec(spec), ...labelProblems("labels", labels), ...sizeProblems(spec)]);
  const imageDigest = await pinnedImage(deps.images, spec);
  const container = Container.fromPartial({
    name,
    uid: deps.random.id("ctr"),
    spec: wholeSpec(await withInherited(deps, project, spec)),
    labels,
    state: ContainerState.CREATING,
    imageDigest,
    createTime: deps.clock.now(),
  });
  const body = sealSecrets(deps.secretKeys, container);
  return deps.operations.accept<Container>(
    {
      ...accepting(containerKind, call, { name, requestId: request.requestId }),
      kind: "container.create",
      input: { uid: body.uid, start: request.start },
      fingerprint: fingerprintOf(deps, request, spec),
    },
    { codec: Container, create: { uid: body.uid, body }, existsReason: containerKind.reasons.exists },
  );
}

/** What has to be equal for a repeated request. */
function fingerprintOf({ secretKeys }: CreateDeps, request: CreateContainerRequest, spec: ContainerSpec): Json {
  const asked = CreateContainerRequest.toJSON({ ...request, requestId: "", spec: { ...spec, secrets: [] } }) as Json;
  return { ...asked, secrets: fingerprinted(secretKeys, spec.secrets) };
}

/** A record is one message, and a message of the log holds 1 MiB at most; what else is in it needs room too. */
const maxSpecBytes = 768 * 1024;

function sizeProblems(spec: ContainerSpec): Problem[] {
  const bytes = Buffer.byteLength(JSON.stringify(ContainerSpec.toJSON(spec)));
  if (bytes <= maxSpecBytes) return [];
  return [
    { field: "spec", message: `takes ${bytes} bytes when it is written down; at most ${maxSpecBytes} are allowed` },
  ];
}

/**
 * The image behind the spec, as it is pinned: of an index the index, out of which each host takes what it can run. One
 * that stands on a checkpoint may have no image, or the one that its source was pinned to: that is on the host already,
 * and need not be in the registry any more.
 */
async function pinnedImage(
  images: CreateDeps["images"],
  { image: reference, fromCheckpoint }: ContainerSpec,
): Promise<string> {
  if (fromCheckpoint !== "" && (reference === "" || reference.includes("@"))) return reference;
  const image = await images.getImage({ reference });
  if (isContainerImage(image)) return `${image.repository}@${image.digest}`;
  throw new StillpointError("IMAGE_INVALID", `${reference} is no container image but ${kindOf(image)}`, {
    help: "Push a container image with docker push, buildah or skopeo; disk images are for VMs.",
  });
}

/** Media types of configs (image-spec 1.1, and Docker's image manifest v2 schema 2), and of indexes. */
const configTypes = ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];
const indexTypes = [
  "application/vnd.oci.image.index.v1+json",
  "application/vnd.docker.distribution.manifest.list.v2+json",
];

function isContainerImage({ artifactType, mediaType }: Image): boolean {
  if (artifactType === "") return indexTypes.includes(mediaType);
  return configTypes.includes(artifactType);
}

const kindOf = ({ artifactType, mediaType }: Image): string => artifactType || mediaType || "something unknown";

/** The spec with everything in it that was left open and has a default, so that it says what holds. */
function wholeSpec(spec: ContainerSpec): ContainerSpec {
  const mode = spec.restart?.mode ?? RestartPolicy_Mode.UNSPECIFIED;
  return {
    ...spec,
    ports: spec.ports.map((port) => ({ ...port, protocol: port.protocol || "tcp" })),
    limits: wholeLimits(spec.limits),
    restart: {
      mode: mode === RestartPolicy_Mode.UNSPECIFIED ? RestartPolicy_Mode.NO : mode,
      maxRetries: spec.restart?.maxRetries ?? 0,
    },
    drain: spec.drain === DrainPolicy.UNSPECIFIED ? DrainPolicy.STOP : spec.drain,
  };
}
