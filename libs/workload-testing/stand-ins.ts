import { ImagesDefinition, type ImagesServiceImplementation } from "#contracts/registry/v1/registry";
import {
  type PlaceRequest,
  SchedulerDefinition,
  type SchedulerServiceImplementation,
} from "#contracts/scheduler/v1/scheduler";
import { StillpointError } from "#libs/errors";
import type { CallScope } from "#libs/rpc";
import { partialService } from "#libs/testing";

export const hostInTest = "hosts/n1";
export const digestInTest = `sha256:${"0123456789abcdef".repeat(4)}`;

/** Places everything on one host, unless `failure` says why not. */
export function standInScheduler(
  reservations: Map<string, PlaceRequest>,
  failure: () => StillpointError | undefined,
): SchedulerServiceImplementation<CallScope> {
  return partialService<SchedulerServiceImplementation<CallScope>>(SchedulerDefinition, {
    async place(request) {
      const error = failure();
      if (error !== undefined) throw error;
      reservations.set(request.uid, request);
      return { host: hostInTest };
    },
    async release({ uid }) {
      reservations.delete(uid);
      return {};
    },
  });
}

const ofImage = "application/vnd.oci.image.manifest.v1+json";
const known: Readonly<Record<string, { readonly artifactType: string; readonly mediaType: string }>> = {
  "guest:1": { artifactType: "application/vnd.stillpoint.vm.image.v1+json", mediaType: ofImage },
  "web:1": { artifactType: "application/vnd.oci.image.config.v1+json", mediaType: ofImage },
  "everywhere:1": { artifactType: "", mediaType: "application/vnd.oci.image.index.v1+json" },
  "chart:1": { artifactType: "application/vnd.cncf.helm.config.v1+json", mediaType: ofImage },
};

/** Knows the VM image "guest:1" of 1 GiB, the container image "web:1", an index of such, and an artifact of others. */
export function standInRegistry(): ImagesServiceImplementation<CallScope> {
  return partialService<ImagesServiceImplementation<CallScope>>(ImagesDefinition, {
    async getImage({ reference }) {
      const image = known[reference];
      if (image === undefined) throw new StillpointError("IMAGE_NOT_FOUND", `there is no image ${reference}`);
      const [repository = ""] = reference.split(":");
      return { ...image, reference, repository, digest: digestInTest, virtualSizeBytes: 2 ** 30 };
    },
  });
}
