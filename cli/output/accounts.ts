import type { Account, RepositoryRight } from "#contracts/registry/v1/accounts";
import { renderFields, renderTable } from "./table.ts";
import { lastPart, showAge, showEnum, showTime } from "./units.ts";

export function showAccounts(accounts: readonly Account[], now: Date): string {
  if (accounts.length === 0) return "No accounts. Make one with: stillpoint registry account create NAME";
  const rows = accounts.map((account) => [
    lastPart(account.name),
    kind(account),
    account.rights.map(showRight).join(" "),
    showAge(account.createTime, now),
  ]);
  return renderTable(["NAME", "KIND", "RIGHTS", "AGE"], rows);
}

export const showAccount = (account: Account): string =>
  renderFields([
    ["Name", lastPart(account.name)],
    ["Kind", kind(account)],
    ["Rights", account.rights.map(showRight).join("\n")],
    ["Made", showTime(account.createTime)],
    ["Expires", showTime(account.expireTime)],
  ]);

/** As --right takes it. */
function showRight({ repositories, actions }: RepositoryRight): string {
  return `${repositories}:${actions.map((action) => showEnum(action, "REPOSITORY_ACTION_")).join(",")}`;
}

const kind = (account: Account): string => showEnum(account.kind, "ACCOUNT_KIND_");
