export { checkDisplayName, checkId, checkName } from "./check-name.ts";
export {
  checkpointName,
  headName,
  hostName,
  ledgerName,
  operationName,
  parseCheckpointName,
  parseHostName,
  parseOperationName,
  parseProject,
  parseVmName,
  projectName,
  vmName,
  workloadOf,
} from "./resource-name.ts";
