import { ClientError, Status } from "nice-grpc-common";
import { RichClientError } from "nice-grpc-error-details";
import { errorTable, type Reason, StillpointError, tellsLasting } from "#libs/errors";
import { errorDomain } from "./server-error.ts";

/** The reason that tells a bare status in general. */
const general: Partial<Record<Status, Reason>> = {
  [Status.CANCELLED]: "CANCELLED",
  [Status.UNAVAILABLE]: "UNAVAILABLE",
  [Status.DEADLINE_EXCEEDED]: "DEADLINE_EXCEEDED",
  [Status.INVALID_ARGUMENT]: "ARGUMENT_INVALID",
  [Status.OUT_OF_RANGE]: "RESYNC",
};

/** The reason that one of our servers gave, whatever version it has; undefined for a bare status. */
export const reasonOf = (error: ClientError): string | undefined => infoOf(error)?.reason;

/** Whether one of our servers said that it stays so until somebody acts. */
export const staysSo = (error: ClientError): boolean => tellsLasting(infoOf(error)?.metadata);

function infoOf(error: ClientError) {
  const details = error instanceof RichClientError ? error.extra : [];
  const info = details.find((detail) => detail.$type === "google.rpc.ErrorInfo");
  return info?.domain === errorDomain ? info : undefined;
}

/**
 * Whether a bare status tells of a connection that could not be made or broke off. A server that was killed shows in
 * many ways: as a stream that was reset, too, and as a call that was cancelled though its caller did not.
 */
export function isTransportFailure({ code, details }: ClientError): boolean {
  if (code === Status.UNAVAILABLE || code === Status.CANCELLED) return true;
  return code === Status.INTERNAL && /RST_STREAM|ECONNRESET|EPIPE|socket/i.test(details);
}

/** The StillpointError that the other side threw, or the one that tells its bare status; anything else stays as it is. */
export function fromClientError(error: unknown, address: string): unknown {
  if (!(error instanceof ClientError)) return error;
  const details = error instanceof RichClientError ? error.extra : [];
  const info = details.find((detail) => detail.$type === "google.rpc.ErrorInfo");
  const help = details.find((detail) => detail.$type === "google.rpc.Help")?.links[0]?.description;
  if (info === undefined || info.domain !== errorDomain) return bare(error, address);
  const advice = help === undefined ? {} : { help };
  if (isReason(info.reason)) {
    return new StillpointError(info.reason, error.details, { cause: error, metadata: info.metadata, ...advice });
  }
  const metadata = { ...info.metadata, foreignReason: info.reason };
  return new StillpointError(general[error.code] ?? "INTERNAL", error.details, { cause: error, metadata, ...advice });
}

/** The error for a stream that sent nothing for too long. */
export const silent = (address: string, method: string, cause: unknown) =>
  new StillpointError("UNAVAILABLE", `${address} went silent in ${method}`, { cause });

function bare(error: ClientError, address: string): StillpointError {
  const reason = isTransportFailure(error) ? "UNAVAILABLE" : (general[error.code] ?? "INTERNAL");
  const what = reason === "UNAVAILABLE" ? `${address} cannot be reached` : `${error.path} failed at ${address}`;
  // Our own servers always say more: something else listens there, or a version that lacks the method.
  const help = reason === "INTERNAL" ? { help: "Check the address, and that both sides have the same version." } : {};
  return new StillpointError(reason, `${what}: ${Status[error.code]} ${error.details}`, { cause: error, ...help });
}

const isReason = (reason: string): reason is Reason => Object.hasOwn(errorTable, reason);
