"""Making the tables of a tokenizer, which ``loader.text.prepared`` opens in milliseconds. Runs in its own process.

``__main__`` does it and keeps the result, ``tables`` says what is in it. Each part of tokenizer.json has a module that
translates it, and refuses by name what the kernel (``native/tokens.c``) does not do: ``normaliser``, ``splitter``,
``models``. ``sheet`` is the file that they fill.

What a tokenizer does with single characters is learned from the library ``tokenizers`` itself, which ``asking`` asks
about every one of them; so its versions of Unicode and of the rules are those of the tables. At the end, ``comparing``
has both tokenize some hundred texts, and tables that disagree are thrown away.
"""
