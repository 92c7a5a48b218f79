export { answerDial, type AnswerOptions, type AnswerResult } from './answer.ts';
export { DialError, dialErrorClass, dialTcp, formatEndpoint, type DialOptions } from './dial.ts';
export { openWithEarlyData } from './early-data.ts';
export { spliceSockets, spliceStream, type SpliceEnd, type SpliceResult } from './splice.ts';
export {
  answerAssociation,
  ASSOCIATION_IDLE_MILLISECONDS,
  type AssociationOptions,
  type AssociationOutcome,
  type AssociationResult,
} from './answer-association.ts';
export {
  AssociationTable,
  type AssociationTableCounters,
  type AssociationTableOptions,
  type DatagramFlow,
  type EntryEnd,
} from './association-table.ts';
