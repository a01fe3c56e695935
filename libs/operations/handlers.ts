import type { OperationsServiceImplementation } from "#contracts/operation/v1/operation";
import { authorise } from "#libs/auth";
import { parseOperationName } from "#libs/names";
import type { CallScope } from "#libs/rpc";
import { notFound, type Operations } from "./operations.ts";
import { probeJob } from "./probe.ts";

const MAX_PAGE = 1_000;

/** The Operations API over the operations of all services. */
export function operationsHandlers(operations: Operations): OperationsServiceImplementation<CallScope> {
  return {
    async getOperation({ name }, { principal }) {
      authorise(principal, "get", name);
      const id = parseOperationName(name);
      const operation = await operations.get(id);
      if (operation === undefined) throw notFound(id);
      return operation;
    },

    async listOperations({ unfinishedOnly, target, pageSize }, { principal }) {
      authorise(principal, "list", "operations");
      const limit = Math.min(pageSize === 0 ? 100 : pageSize, MAX_PAGE);
      return { operations: await operations.list({ unfinishedOnly, limit, ...(target === "" ? {} : { target }) }) };
    },

    async *watchOperation({ name }, { principal, signal }) {
      authorise(principal, "watch", name);
      yield* operations.watch(parseOperationName(name), signal);
    },

    async probe({ requestId }, { principal, traceparent }) {
      authorise(principal, "create", "operations");
      const trace = traceparent === undefined ? {} : { traceparent };
      const asked = { input: {}, requestId, principal: principal.name, project: "-", ...trace };
      return await operations.accept({ ...asked, kind: probeJob.kind, target: "" });
    },

    async cancelOperation({ name }, { principal }) {
      authorise(principal, "cancel", name);
      return await operations.cancel(parseOperationName(name));
    },
  };
}
