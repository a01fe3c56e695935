import type { Quota, QuotasServiceImplementation } from "#contracts/registry/v1/quotas";
import { authorise } from "#libs/auth";
import { StillpointError } from "#libs/errors";
import type { CallScope } from "#libs/rpc";
import { parseQuotaName, type QuotaStore, quotaName } from "./quota-store.ts";
import type { Recounter } from "./recounter.ts";
import type { Usage } from "./usage.ts";

export interface QuotasDeps {
  readonly quotas: QuotaStore;
  readonly usage: Pick<Usage, "total">;
  readonly recounter: Recounter;
}

/** The Quotas service. */
export function quotasHandlers(deps: QuotasDeps): QuotasServiceImplementation<CallScope> {
  const { quotas, recounter } = deps;
  return {
    async setQuota({ name, limitBytes }, { principal }) {
      authorise(principal, "update", name);
      const project = parseQuotaName(name);
      if (limitBytes < 1) throw new StillpointError("ARGUMENT_INVALID", "a quota has one byte at least");
      await quotas.set(project, limitBytes);
      await recounter.recount(project);
      return await withUsage(deps, project);
    },

    async getQuota({ name }, { principal }) {
      authorise(principal, "get", name);
      return await withUsage(deps, parseQuotaName(name));
    },

    async listQuotas(_request, { principal }) {
      authorise(principal, "list", "registry/quotas");
      const projects = quotas.list().map(({ name }) => parseQuotaName(name));
      return { quotas: await Promise.all(projects.map((project) => withUsage(deps, project))) };
    },

    async deleteQuota({ name }, { principal, previousAttempts }) {
      authorise(principal, "delete", name);
      if ((await quotas.remove(parseQuotaName(name))) || previousAttempts > 0) return {};
      throw new StillpointError("QUOTA_NOT_FOUND", `there is no quota for ${parseQuotaName(name)}`);
    },

    async recountQuota({ name }, { principal }) {
      authorise(principal, "update", name);
      const project = parseQuotaName(name);
      if (quotas.find(project) !== undefined) await recounter.recount(project);
      return await withUsage(deps, project);
    },
  };
}

async function withUsage({ quotas, usage, recounter }: QuotasDeps, project: string): Promise<Quota> {
  const quota = quotas.find(project);
  if (quota === undefined) {
    return {
      name: quotaName(project),
      limitBytes: 0,
      usedBytes: await recounter.measure(project),
      updateTime: undefined,
    };
  }
  await recounter.ensure(project);
  return { ...quota, usedBytes: (await usage.total(project)) ?? 0 };
}
