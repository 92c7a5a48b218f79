export { answerDial, type AnswerOptions, type AnswerResult } from './answer.ts';
export { DialError, dialErrorClass, dialTcp, formatEndpoint, type DialOptions } from './dial.ts';
export { spliceSockets, spliceStream, type SpliceEnd, type SpliceResult } from './splice.ts';
