import type { Verb } from "#libs/auth";
import { isRepository } from "#libs/oci";
import { OciError } from "../domain/oci-error.ts";
import { deleteBlob, getBlob } from "./blobs.ts";
import type { Handler } from "./exchange.ts";
import { getCatalog, getReferrers, getTags, getVersion } from "./lists.ts";
import { deleteManifest, getManifest, putManifest } from "./manifests.ts";
import { appendChunk, cancelUpload, finishUpload, getUpload, startUpload } from "./uploads.ts";

interface Action {
  readonly verb: Verb;
  readonly handle: Handler;
}

interface Route {
  /** The repository's name has slashes: it takes whatever stands before the fixed part. */
  readonly path: RegExp;
  readonly actions: Readonly<Record<string, Action>>;
  /** True where the reference is an upload that is under way. */
  readonly isUpload?: true;
}

/** What a request asks for. */
interface Target extends Action {
  /** Checked; empty where the route has none. */
  readonly repository: string;
  readonly reference: string;
  readonly isUpload: boolean;
}

/** distribution-spec 1.1, "Endpoints", most frequent first. */
const routes: readonly Route[] = [
  {
    path: /^\/v2\/(?<repository>.+)\/manifests\/(?<reference>[^/]+)$/,
    actions: {
      GET: { verb: "get", handle: getManifest },
      HEAD: { verb: "get", handle: getManifest },
      PUT: { verb: "update", handle: putManifest },
      DELETE: { verb: "delete", handle: deleteManifest },
    },
  },
  {
    path: /^\/v2\/(?<repository>.+)\/blobs\/uploads\/?$/,
    actions: { POST: { verb: "update", handle: startUpload } },
  },
  {
    path: /^\/v2\/(?<repository>.+)\/blobs\/uploads\/(?<reference>[^/]+)$/,
    isUpload: true,
    actions: {
      GET: { verb: "update", handle: getUpload },
      PATCH: { verb: "update", handle: appendChunk },
      PUT: { verb: "update", handle: finishUpload },
      DELETE: { verb: "update", handle: cancelUpload },
    },
  },
  {
    path: /^\/v2\/(?<repository>.+)\/blobs\/(?<reference>[^/]+)$/,
    actions: {
      GET: { verb: "get", handle: getBlob },
      HEAD: { verb: "get", handle: getBlob },
      DELETE: { verb: "delete", handle: deleteBlob },
    },
  },
  {
    path: /^\/v2\/(?<repository>.+)\/tags\/list$/,
    actions: { GET: { verb: "get", handle: getTags } },
  },
  {
    path: /^\/v2\/(?<repository>.+)\/referrers\/(?<reference>[^/]+)$/,
    actions: { GET: { verb: "get", handle: getReferrers } },
  },
  { path: /^\/v2\/_catalog$/, actions: { GET: { verb: "list", handle: getCatalog } } },
  {
    path: /^\/v2\/?$/,
    actions: { GET: { verb: "get", handle: getVersion }, HEAD: { verb: "get", handle: getVersion } },
  },
];

/** @throws OciError NAME_INVALID, UNSUPPORTED (404, 405) */
export function findRoute(method: string, path: string): Target {
  for (const { path: pattern, actions, isUpload = false } of routes) {
    const match = pattern.exec(path);
    if (match === null) continue;
    const { repository = "", reference = "" } = match.groups ?? {};
    if (repository !== "" && !isRepository(repository))
      throw new OciError("NAME_INVALID", "that is no repository's name");
    const action = actions[method];
    if (action !== undefined) return { ...action, repository, reference: decode(reference), isUpload };
    throw new OciError("UNSUPPORTED", `${method} is not possible here`, {
      headers: { allow: Object.keys(actions).join() },
    });
  }
  throw new OciError("UNSUPPORTED", "there is nothing at this path", { status: 404 });
}

/** Some clients write the colon of a digest as %3A. */
function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
