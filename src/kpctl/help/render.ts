import { stripVTControlCharacters, styleText } from 'node:util';
import { parseMarkdown, parseSpans, type Block } from './markdown.ts';

export interface RenderOptions {
  /** Columns. */
  readonly width: number;
  readonly colours: boolean;
}

/** Beyond it lines are hard to read. */
const MOST_COLUMNS = 100;

/** Markdown as lines for a terminal. */
export function renderMarkdown(markdown: string, options: RenderOptions): string[] {
  const columns = Math.max(20, Math.min(options.width, MOST_COLUMNS));
  const lines: string[] = [];
  let before: Block['kind'] | undefined;
  for (const block of parseMarkdown(markdown)) {
    if (before !== undefined && !(before === 'item' && block.kind === 'item')) lines.push('');
    lines.push(...renderBlock(block, columns, options.colours));
    before = block.kind;
  }
  return lines;
}

function renderBlock(block: Block, columns: number, colours: boolean): string[] {
  switch (block.kind) {
    case 'heading':
      return wrap(styled(block.text.toUpperCase(), colours, true), columns, '', '');
    case 'paragraph':
      return wrap(styled(block.text, colours), columns, '', '');
    case 'item':
      return wrap(styled(block.text, colours), columns, '- ', '  ');
    case 'code':
      return block.lines.map((line) => `    ${line}`);
    case 'table':
      return renderTable(block.rows, columns, colours);
  }
}

/** The first column as wide as it needs; what stands in the others is wrapped. */
function renderTable(rows: readonly (readonly string[])[], columns: number, colours: boolean): string[] {
  const cells = rows.map(
    ([first = '', ...rest]) => [styled(first, colours), styled(rest.filter((cell) => cell !== '').join('; '), colours)] as const,
  );
  const first = Math.min(Math.max(...cells.map(([cell]) => widthOf(cell))), Math.floor(columns / 2));
  const indent = ' '.repeat(first + 2);
  return cells.flatMap(([name, text]) => {
    const wrapped = wrap(text, columns, indent, indent);
    if (widthOf(name) > first) return [name, ...wrapped];
    return [name + ' '.repeat(first + 2 - widthOf(name)) + (wrapped[0] ?? '').slice(indent.length), ...wrapped.slice(1)];
  });
}

function styled(text: string, colours: boolean, strong = false): string {
  const spans = parseSpans(text).map((span) => {
    if (!colours) return span.style === 'code' ? span.text : span.text;
    if (strong || span.style === 'strong') return styleText('bold', span.text, { validateStream: false });
    if (span.style === 'code') return styleText('cyan', span.text, { validateStream: false });
    return span.style === 'emphasis' ? styleText('italic', span.text, { validateStream: false }) : span.text;
  });
  return spans.join('');
}

function wrap(text: string, columns: number, first: string, others: string): string[] {
  const lines: string[] = [];
  let line = first;
  let empty = true;
  for (const word of text.split(' ')) {
    if (!empty && widthOf(line) + 1 + widthOf(word) > columns) {
      lines.push(line);
      line = others;
      empty = true;
    }
    line += empty ? word : ` ${word}`;
    empty = false;
  }
  return [...lines, line];
}

function widthOf(text: string): number {
  return stripVTControlCharacters(text).length;
}
