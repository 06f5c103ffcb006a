"""A Sample becomes a Verdict: contract, preprocess, engine, postprocess, pipeline."""
