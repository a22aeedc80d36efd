"""The laws of what takes part in runs, as test classes to inherit in a test file of your own; no checkout is needed.

    executors.py    ExecutorLaws
    samplers.py     SamplerLaws
    sources.py      SourceLaws
    jobs.py         what the laws of executors let them do

    from nas.testing.executors import ExecutorLaws

    class TestMyExecutor(ExecutorLaws):
        executor = "my_package.MyExecutor"

They need pytest: `pip install "hybrid-mixer-nas[testing]"`. nas/README.md has an example of each.
"""
