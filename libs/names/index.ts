export { checkDisplayName, checkId, checkName, quote } from "./check-name.ts";
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
  parseScheduleName,
  parseVmName,
  projectName,
  scheduleName,
  vmName,
  workloadOf,
} from "./resource-name.ts";
